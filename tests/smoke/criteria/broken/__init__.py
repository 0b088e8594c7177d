"""Hosts on which criteria fail: a module for each file of criteria, a table for each criterion."""
