"""Networks at work: engines, patch classifiers over whole images, and masks out of image classifiers."""
