"""A Sentinel-1 product as it came: files, annotation, radiometry, geolocation."""
