;; world: import stecker:plugin/log@VERSION;
(import "stecker:plugin/log@VERSION" "write" (func $log (param i32 i32 i32 i32 i32)))
;; imports end
(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (local $i i32)
    (drop (memory.grow (i32.const 20)))
    (memory.fill (i32.const 0x10000) (i32.const 65) (i32.const 0x100000))
    (loop $more
        (call $log (i32.const 4) (i32.const 0x10000) (i32.const 0x100000) (i32.const 0) (i32.const 0))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
    (call $dropping (i32.const 1042) (i32.const 5)))
