;; world: import wasi:io/poll@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))
;; imports end
(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 240)) (i32.const -1)) (then unreachable))
    ;; Holds all of it for a second, in which every other call comes to ask for as much.
    (i32.store (i32.const 0x20000) (call $subscribe (i64.const 1000000000)))
    (call $poll (i32.const 0x20000) (i32.const 1) (i32.const 0x4000))
    (call $dropping (i32.const 1042) (i32.const 5)))
