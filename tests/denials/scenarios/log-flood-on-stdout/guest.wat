;; world: import wasi:cli/stdout@0.2.0;
(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
;; imports end
(func $apply (export "stecker:plugin/transform@VERSION#apply") (param $config i32) (param $config_len i32) (param $at i32) (param $len i32) (result i32)
    (local $i i32) (local $out i32)
    (local.set $out (call $stdout))
    (memory.fill (i32.const 0x4000) (i32.const 10) (i32.const 4096))
    (loop $more
        (call $write (local.get $out) (i32.const 0x4000) (i32.const 4096) (i32.const 4096))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
    (call $dropping (i32.const 1042) (i32.const 5)))
