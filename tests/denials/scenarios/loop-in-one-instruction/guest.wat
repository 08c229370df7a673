(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (drop (memory.grow (i32.const 200)))
    (loop $again
        (memory.fill (i32.const 0x20000) (i32.const 7) (i32.const 0xa00000))
        (br $again))
    (i32.const 0))
