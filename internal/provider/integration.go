package provider

import (
	"maps"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// MaskedValue stands for a secret integration_config value wherever the configuration is shown. Sent back, it means "as it
// was".
const MaskedValue = "***"

// ConfigError is what is wrong with an integration_config. Its text is safe to show.
type ConfigError struct{ Issues []errs.Issue }

func (e *ConfigError) Error() string {
	faults := make([]string, len(e.Issues))
	for i, one := range e.Issues {
		faults[i] = one.Message
	}
	return "integration_config: " + strings.Join(faults, "; ")
}

// CheckIntegrationConfig lays given over current and checks the outcome by the provider's integration_config fields. With
// an empty current it is a creation and fills in defaults; otherwise a missing key keeps its value and an empty one is
// cleared. Fields that visible_when hides are neither required nor checked. An error is a *ConfigError.
func (p *Provider) CheckIntegrationConfig(current, given map[string]string) (map[string]string, error) {
	fields := p.IntegrationConfig
	merged := maps.Clone(current)
	if merged == nil {
		merged = map[string]string{}
	}
	var issues []errs.Issue
	for _, name := range slices.Sorted(maps.Keys(given)) {
		field, known := fields[name]
		if !known {
			issues = append(issues, issue("unrecognized_keys", "is not a setting of "+p.DisplayName, nil, name))
			continue
		}
		value := field.Normalize(given[name])
		switch {
		case field.Secret && value == MaskedValue && current[name] != "":
		case value == "":
			delete(merged, name)
		default:
			merged[name] = value
		}
	}
	if len(current) == 0 {
		for name, field := range fields {
			if _, set := merged[name]; !set && field.Default != "" {
				merged[name] = field.Default
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !fields.visible(name, merged) {
			continue
		}
		if fault := fields[name].Check(merged[name]); fault != "" {
			issues = append(issues, issue("invalid_string", fault, nil, name))
		}
	}
	if len(issues) > 0 {
		return nil, &ConfigError{Issues: issues}
	}
	return merged, nil
}

// MaskIntegrationConfig returns a copy that may be shown: secret values become MaskedValue.
func (p *Provider) MaskIntegrationConfig(config map[string]string) map[string]string {
	shown := maps.Clone(config)
	for name := range shown {
		if p.IntegrationConfig[name].Secret {
			shown[name] = MaskedValue
		}
	}
	return shown
}

// visible reports whether a field is shown: it has no condition, or the field it depends on is shown and has the value.
func (fields Fields) visible(name string, values map[string]string) bool {
	for range len(fields) { // Load refuses circles, this bounds the walk all the same
		when := fields[name].VisibleWhen
		if when == nil {
			return true
		}
		if values[when.Field] != when.Equals {
			return false
		}
		name = when.Field
	}
	return true
}
