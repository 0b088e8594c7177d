"""The only places that speak to programs and libraries of the build host."""
