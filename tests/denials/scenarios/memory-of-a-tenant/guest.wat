(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (local $i i32)
    (if (i32.eq (memory.grow (i32.const 240)) (i32.const -1)) (then unreachable))
    (loop $again
        (i32.store (i32.const 0x20000) (local.get $i))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 2000000))))
    (call $dropping (i32.const 1042) (i32.const 5)))
