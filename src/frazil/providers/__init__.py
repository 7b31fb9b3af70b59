"""Where products are to be had: what lies there, and how it comes here whole."""
