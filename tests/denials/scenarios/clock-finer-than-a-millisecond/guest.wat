;; world: import stecker:plugin/clock@VERSION;
(import "stecker:plugin/clock@VERSION" "now" (func $now (result i64)))
;; imports end
(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (local $i i32) (local $steps i32) (local $last i64) (local $now i64)
    (loop $more
        (local.set $now (call $now))
        (if (i64.ne (local.get $now) (local.get $last)) (then (local.set $steps (i32.add (local.get $steps) (i32.const 1)))))
        (local.set $last (local.get $now))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
    (if (i32.gt_u (local.get $steps) (i32.const 30000)) (then unreachable))
    (call $dropping (i32.const 1042) (i32.const 5)))
