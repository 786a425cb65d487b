"""The command line: read the arguments, call, draw. Only this package prints, prompts or exits."""
