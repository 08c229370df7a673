;; world: import stecker:plugin/random@VERSION;
(import "stecker:plugin/random@VERSION" "bytes" (func $random (param i32 i32)))
;; imports end
(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (call $random (i32.const -1) (i32.const 4096))
    (if (i32.ne (i32.load (i32.const 4100)) (i32.const 4096)) (then unreachable))
    (call $dropping (i32.const 1042) (i32.const 5)))
