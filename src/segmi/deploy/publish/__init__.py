"""A bundle for other people, with a card that says what it is: in a folder, or in a repository of the Hub."""

from segmi.deploy.publish.folder import write_folder
from segmi.deploy.publish.push import push

__all__ = ["push", "write_folder"]
