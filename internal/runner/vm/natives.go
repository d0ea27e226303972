package vm

// natives are the pure functions behind the built-in modules: strings in, one value out, no access to anything outside.
// Bytes cross as standard base64, which the engine encodes and decodes natively.
var natives = map[string]func(args []string) (any, error){
	"uuid":   nativeUUID,
	"random": nativeRandom,
	"hash":   nativeHash,
	"hmac":   nativeHMAC,

	"bytes":  nativeBytes,
	"string": nativeString,
	"decode": nativeDecode,
	"size":   func(args []string) (any, error) { return len(arg(args, 0)), nil },
	"valid":  nativeValid,

	"url.parse": nativeURLParse,
	"url.set":   nativeURLSet,
	"url.form":  nativeURLForm,
}

// arg is the i-th argument, "" if absent.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
