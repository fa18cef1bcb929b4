"""The campaign commands: set-up, launch, follow, status and what looks deeper."""
