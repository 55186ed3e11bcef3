"""The commands of `tfshed`, each in the file of its name: its flags, and the call that it makes."""
