"""Pure values and arithmetic: opens no file, prints nothing, knows no model class."""
