"""Archives of products: what lies there, and how it comes here whole."""
