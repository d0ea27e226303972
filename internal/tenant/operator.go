package tenant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// The variables that hold operator's keys start with one of these; the rest is the environment's name, in any case.
const (
	keyVariable       = "PATCHBAY_SECRET_KEY_"
	keyVariableLegacy = "NANGO_SECRET_KEY_"
)

type operatorKey struct {
	id          uuid.UUID
	variable    string
	environment string
}

// readOperatorKeys finds the keys among variables. The errors name the variable, never its value.
func readOperatorKeys(variables map[string]string) ([]operatorKey, error) {
	var keys []operatorKey
	owner := map[uuid.UUID]operatorKey{}
	for variable, value := range variables {
		name, ok := strings.CutPrefix(variable, keyVariable)
		if !ok {
			name, ok = strings.CutPrefix(variable, keyVariableLegacy)
		}
		if !ok {
			continue
		}
		key := operatorKey{variable: variable, environment: strings.ToLower(name)}
		if !environmentName.MatchString(key.environment) {
			return nil, fmt.Errorf("variable %s does not end in the name of an environment", variable)
		}
		if key.id, ok = parseKey(strings.TrimSpace(value)); !ok {
			return nil, fmt.Errorf("variable %s is not a version 4 UUID: make one with `uuidgen -r`", variable)
		}
		if other, taken := owner[key.id]; taken && other.environment != key.environment {
			first, second := min(variable, other.variable), max(variable, other.variable)
			return nil, fmt.Errorf("variables %s and %s hold the same key for different environments", first, second)
		}
		owner[key.id] = key
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b operatorKey) int { return strings.Compare(a.variable, b.variable) })
	return keys, nil
}
