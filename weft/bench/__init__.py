"""What is timed, against whom, and with which floor. Each benchmark writes one JSON file."""
