"""What people look at: summary, page, history of builds."""
