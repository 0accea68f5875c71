"""Where pods come from beside the API: manifest files."""
