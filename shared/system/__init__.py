"""What this program does with the operating system: files, temporary folders, child processes, the end of a command."""
