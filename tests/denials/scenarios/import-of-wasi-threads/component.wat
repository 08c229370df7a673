(component (import "wasi:sockets/tcp@0.1.0" (instance)))
