//! One rank, one client, a store that answers at once.
