"""What constructors take: the arguments of a method, and classes under the names of earlier releases."""
