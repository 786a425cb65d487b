"""The command line: read the arguments, call, draw. Nothing else prints, prompts or exits."""
