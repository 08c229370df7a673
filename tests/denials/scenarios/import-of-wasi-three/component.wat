(component (import "wasi:sockets/types@0.3.0" (instance)))
