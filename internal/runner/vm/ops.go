package vm

import (
	"errors"
	"fmt"
	"time"

	"modernc.org/quickjs"
)

// nativeOp is the JavaScript function native(op, …): the control ops of core.js, and the pure functions of natives that the
// other built-in modules use. An error is thrown as a TypeError.
func (v *VM) nativeOp(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("native: no op")
	}
	op, _ := args[0].(string)
	args = args[1:]
	switch op {
	case "call":
		return v.opCall(args)
	case "timer":
		return v.opTimer(args)
	case "untimer":
		v.timers.clear(number(args, 0))
	case "result":
		if !v.settled {
			v.settled, v.outcome.Result = true, text(args, 0)
		}
	case "failed":
		v.fail(fmt.Errorf("%w: %s", ErrScript, text(args, 0)))
	case "fault":
		fault := v.fault
		v.fault = nil
		if fault == nil {
			return "unknown fault", nil
		}
		return fault.Error(), nil
	case "intl":
		return nil, v.installIntl()
	case "collate":
		return v.engine.collate([]string{text(args, 0), text(args, 1), text(args, 2)})
	default:
		f, ok := natives[op]
		if !ok {
			return nil, fmt.Errorf("native: unknown op %q", op)
		}
		in := make([]string, len(args))
		for i := range args {
			in[i] = text(args, i)
		}
		return f(in)
	}
	return quickjs.Undefined{}, nil
}

func (v *VM) opCall(args []any) (any, error) {
	if v.job == nil {
		return nil, errors.New("no host call is possible while the machine is prepared")
	}
	if err := v.job.Call(uint32(number(args, 0)), text(args, 1), text(args, 2)); err != nil {
		return nil, err
	}
	v.calls++
	return quickjs.Undefined{}, nil
}

func (v *VM) opTimer(args []any) (any, error) {
	delay := time.Duration(number(args, 1)) * time.Millisecond
	if !v.timers.set(number(args, 0), time.Now().Add(delay)) {
		return nil, fmt.Errorf("more than %d timers", maxTimers)
	}
	return quickjs.Undefined{}, nil
}

// number reads an argument as an integer, 0 if it is none. core.js passes numbers; a fraction is cut off.
func number(args []any, i int) int {
	if i >= len(args) {
		return 0
	}
	switch n := args[i].(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return 0
}

// text reads an argument as a string, "" if it is none.
func text(args []any, i int) string {
	if i >= len(args) {
		return ""
	}
	s, _ := args[i].(string)
	return s
}
