"""Duplicates among the files of a build: exact ones by hash, near ones by MinHash and a verified Jaccard similarity."""
