package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
)

const (
	maxVariables     = 100
	maxVariableName  = 256
	maxVariableValue = 4000
	// maxRetentionDays is ten years: longer is a typing error.
	maxRetentionDays = 3650
	// maxURL is what common servers and proxies accept.
	maxURL = 8192
)

// SettingsUpdate says what to change; nil leaves a setting as it is.
type SettingsUpdate struct {
	// The URLs are absolute, or empty for none. Webhook URLs of production environments need https unless Options.AllowHTTP.
	PrimaryURL, SecondaryURL, CallbackURL *string

	OnAuthCreation          *bool
	OnAuthRefreshError      *bool
	OnSyncCompletionAlways  *bool
	OnSyncError             *bool
	OnAsyncActionCompletion *bool
	ForwardWebhooks         *bool

	OTLPEndpoint *string
	// OTLPHeaders has the limits of SetVariables; empty means none.
	OTLPHeaders *[]Variable
	// RetentionDays is 0 (what the server is set to) to 3650.
	RetentionDays *int
}

// StoredUpdate is an update that was checked and sealed.
type StoredUpdate struct {
	SettingsUpdate

	SealedOTLPHeaders []byte // nil: unchanged
	At                time.Time
}

// UpdateSettings changes the settings that u names, in this process at once.
func (s *Service) UpdateSettings(ctx context.Context, e Environment, u SettingsUpdate) error {
	stored, err := s.storedSettings(ctx, e)
	if err != nil {
		return err
	}
	prepared, err := s.prepareUpdate(stored.Environment, u)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context) error { return s.opts.Store.UpdateSettings(ctx, e, prepared) })
	if err != nil {
		return fmt.Errorf("update the settings of environment %d: %w", e.ID, err)
	}
	return nil
}

func (s *Service) prepareUpdate(e Environment, u SettingsUpdate) (StoredUpdate, error) {
	var issues []errs.Issue
	issues = append(issues, s.checkWebhookURL(e, u.PrimaryURL, "primary_url")...)
	issues = append(issues, s.checkWebhookURL(e, u.SecondaryURL, "secondary_url")...)
	issues = append(issues, s.checkOutboundURL(u.OTLPEndpoint, "otlp_endpoint")...)
	issues = append(issues, checkURL(u.CallbackURL, "callback_url")...)
	if days := u.RetentionDays; days != nil && (*days < 0 || *days > maxRetentionDays) {
		issues = append(issues, errs.Issue{
			Code: "custom", Message: fmt.Sprintf("Must be from 0 to %d days", maxRetentionDays), Path: []string{"retention_days"},
		})
	}
	if u.OTLPHeaders != nil {
		issues = append(issues, checkVariables(*u.OTLPHeaders, "otlp_headers")...)
	}
	prepared := StoredUpdate{SettingsUpdate: u, At: s.opts.Now()}
	err := invalid(issues)
	if err == nil && u.OTLPHeaders != nil {
		prepared.SealedOTLPHeaders, err = s.sealVariables(*u.OTLPHeaders, e, columnOTLPHeaders)
	}
	return prepared, err
}

func invalid(issues []errs.Issue) error {
	if len(issues) == 0 {
		return nil
	}
	return errs.Invalid("invalid_body", issues...)
}

// checkURL accepts an absolute http or https URL, and the empty text.
func checkURL(raw *string, field string) []errs.Issue {
	if raw == nil || *raw == "" {
		return nil
	}
	u, err := url.Parse(*raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(*raw) > maxURL {
		return []errs.Issue{{Code: "invalid_format", Message: "Invalid URL", Path: []string{field}}}
	}
	return nil
}

// checkOutboundURL also asks whether the server may connect to it.
func (s *Service) checkOutboundURL(raw *string, field string) []errs.Issue {
	issues := checkURL(raw, field)
	if raw == nil || *raw == "" || issues != nil {
		return issues
	}
	if _, err := s.opts.URLs.CheckURL(*raw); err != nil {
		message := "This server may not connect to the URL"
		if denied, ok := errors.AsType[*egress.DeniedError](err); ok {
			message += ": " + string(denied.Reason)
		}
		return []errs.Issue{{Code: "custom", Message: message, Path: []string{field}}}
	}
	return nil
}

func (s *Service) checkWebhookURL(e Environment, raw *string, field string) []errs.Issue {
	issues := s.checkOutboundURL(raw, field)
	if raw == nil || *raw == "" || issues != nil || !e.Production || s.opts.AllowHTTP {
		return issues
	}
	if u, err := url.Parse(*raw); err != nil || u.Scheme != "https" {
		return []errs.Issue{{Code: "custom", Message: "Webhook URLs of a production environment must use https", Path: []string{field}}}
	}
	return nil
}

func checkVariables(variables []Variable, field string) []errs.Issue {
	if len(variables) > maxVariables {
		return []errs.Issue{{
			Code: "too_big", Message: fmt.Sprintf("Too big: expected array to have <=%d items", maxVariables), Path: []string{field},
		}}
	}
	var issues []errs.Issue
	seen := make(map[string]bool, len(variables))
	for i, v := range variables {
		path := []string{field, strconv.Itoa(i)}
		issues = append(issues, checkLength(v.Name, maxVariableName, append(path[:2:2], "name"))...)
		issues = append(issues, checkLength(v.Value.Reveal(), maxVariableValue, append(path[:2:2], "value"))...)
		if seen[v.Name] {
			issues = append(issues, errs.Issue{Code: "custom", Message: "The name is used twice", Path: append(path[:2:2], "name")})
		}
		seen[v.Name] = true
	}
	return issues
}

// checkLength accepts 1 to limit characters.
func checkLength(text string, limit int, path []string) []errs.Issue {
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return []errs.Issue{{Code: "too_small", Message: "Too small: expected string to have >=1 characters", Path: path}}
	case n > limit:
		return []errs.Issue{{Code: "too_big", Message: fmt.Sprintf("Too big: expected string to have <=%d characters", limit), Path: path}}
	}
	return nil
}
