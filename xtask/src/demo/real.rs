//! The demo with Vendure and Tryton.
