"""The command line `fleet`: one thin module per group of commands, loaded when it is called."""
