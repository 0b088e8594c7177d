"""The release criteria, one per file: each test reads like its sentence. Run under pytest against one booted artifact."""
