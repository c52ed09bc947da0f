"""What crystal, microscope or detector might have done otherwise; labels follow."""
