"""An audit as a document: one file a format, no decision taken."""
