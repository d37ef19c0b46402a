"""Checks that read jobs and journals."""
