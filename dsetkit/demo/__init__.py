"""The demo: the whole chain on pictures that it draws itself."""
