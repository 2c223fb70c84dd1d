"""One slide with its scores as a page that zooms, with no server and no network."""
