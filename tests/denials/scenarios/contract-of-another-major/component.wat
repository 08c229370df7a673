(component (import "stecker:plugin/http@2.0.0" (instance)))
