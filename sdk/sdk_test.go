package sdk_test

import (
	"regexp"
	"testing"

	"github.com/patchbay-dev/patchbay/sdk"
)

// TestEveryMemberOfTheRuntimeObjectIsDeclared: an editor knows what a function can call.
func TestEveryMemberOfTheRuntimeObjectIsDeclared(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"connectionId", "providerConfigKey", "provider", "environmentId", "environmentName", "accountId", "activityLogId", "syncId", "syncJobId",
		"nangoConnectionId", "scriptType", "isCLI", "ActionError", "variant", "lastSyncDate", "track_deletes", "emptyCache",
		"proxy", "get", "post", "put", "patch", "delete", "paginate", "uncontrolledFetch", "getConnection", "getToken", "getIntegration",
		"getWebhookURL", "getMetadata", "setMetadata", "updateMetadata", "getFieldMapping", "setFieldMapping", "getEnvironmentVariables",
		"getFlowAttributes", "getVariant", "log", "setLogger", "batchSave", "batchSend", "batchUpdate", "batchDelete", "getRecordsByIds",
		"listRecords", "trackDeletesStart", "trackDeletesEnd", "deleteRecordsFromPreviousExecutions", "setMergingStrategy", "getCheckpoint",
		"saveCheckpoint", "clearCheckpoint", "tryAcquireLock", "releaseLock", "releaseAllLocks", "triggerAction", "triggerSync", "startSync",
		"zodValidateInput",
	} {
		if !regexp.MustCompile(`(?m)^    (readonly )?` + name + `[?(<:]`).MatchString(sdk.Types) {
			t.Errorf("%s is not declared", name)
		}
	}
	for _, name := range []string{"createSync", "createAction", "createOnEvent"} {
		if !regexp.MustCompile(`(?m)^export declare function ` + name + `\b`).MatchString(sdk.Types) {
			t.Errorf("%s is not exported", name)
		}
	}
}
