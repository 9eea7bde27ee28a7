//! The gateway under test: its own data folder, a free port, and a name for each connection.
