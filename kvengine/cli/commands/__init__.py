"""The commands, one file each; `kvengine.cli.app` names them."""
