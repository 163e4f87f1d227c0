"""The console: pages for admins, ops, data people and raters. It reads tables, and acts through the services' APIs."""
