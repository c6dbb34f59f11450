"""The command line: a file a verb. Nothing heavy is imported before a verb runs."""
