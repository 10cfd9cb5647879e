"""The studio: a web page on which a picture is coded and looked at."""
