"""Your own raw product-analytics events, exactly once, hour by hour, in your own S3 bucket."""

__version__ = "0.1.0"
