"""The stages of the main path: paths and configuration in, an artefact out."""
