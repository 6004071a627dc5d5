"""Folders of pictures to checked pixels with an id and a split."""
