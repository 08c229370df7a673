(component (import "stecker:plugin/clock@1.9.0" (instance (export "tomorrow" (func (result u64))))))
