/**
 * Types for authors of integration functions: what `import … from 'nango'` provides at run time.
 *
 * Models, metadata, checkpoints, inputs and outputs are zod schemas (zod 4, part of the runtime).
 */
import type * as z from 'zod';

type MaybePromise<T> = T | Promise<T>;
type Inferred<T> = T extends undefined ? undefined : T extends z.ZodType ? z.infer<T> : never;

/** A model of a sync: an object with a text `id`, which is unique within the connection. */
export type ZodModel = z.ZodObject<{ id: z.ZodString }>;
/** The metadata of a connection that a function reads: an object, or z.void() for none. */
export type ZodMetadata = z.ZodObject | z.ZodVoid | undefined;
/** A checkpoint: a flat object of texts, numbers and booleans, 16 fields at most. */
export type ZodCheckpoint = z.ZodObject<Record<string, z.ZodString | z.ZodNumber | z.ZodBoolean>> | undefined;

/** @deprecated Endpoints are kept for older callers; functions are called by name. */
export interface Endpoint {
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
    path: string;
    group?: string;
}

/** A function that keeps the records of its models up to date, on a schedule and on webhooks. */
export interface CreateSyncProps<
    TModels extends Record<string, ZodModel>,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
> {
    /** What it does, at most 2,000 characters. */
    description: string;
    /** Counted up with each change when it is left out. */
    version?: string;
    /** "every 5 minutes", "every hour", "every half day", "30s" …: 30 seconds at least. */
    frequency: string;
    /** By name: a capital first, then letters, digits and _. One sync of an integration owns a model. */
    models: TModels;
    /** Whether it starts for each new connection. Default: true. */
    autoStart?: boolean;
    metadata?: TMetadata;
    checkpoint?: TCheckpoint;
    /** What the third party has to grant; documentation only. */
    scopes?: string[];
    /** Types of the third party's webhooks that call onWebhook; "*" is all. */
    webhookSubscriptions?: string[];
    /** @deprecated Use checkpoints. */
    syncType?: 'full' | 'incremental';
    /** @deprecated Use trackDeletesStart and trackDeletesEnd. */
    trackDeletes?: boolean;
    /** @deprecated */
    endpoints?: Endpoint[];
    exec: (nango: NangoSync<TModels, TMetadata, TCheckpoint>) => MaybePromise<void>;
    onWebhook?: (nango: NangoSync<TModels, TMetadata, TCheckpoint>, payload: any) => MaybePromise<void>;
}

/** A function that an app calls with an input and that answers with an output. */
export interface CreateActionProps<
    TInput extends z.ZodType,
    TOutput extends z.ZodType,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
> {
    description: string;
    version?: string;
    /** z.void() for none. */
    input: TInput;
    output: TOutput;
    metadata?: TMetadata;
    checkpoint?: TCheckpoint;
    scopes?: string[];
    /** @deprecated */
    endpoint?: Endpoint;
    exec: (nango: NangoAction<TMetadata, TCheckpoint>, input: z.infer<TInput>) => MaybePromise<z.infer<TOutput>>;
}

/** A function that runs when something happens to a connection. */
export interface CreateOnEventProps<TMetadata extends ZodMetadata = undefined, TCheckpoint extends ZodCheckpoint = undefined> {
    description: string;
    version?: string;
    /** An error thrown on validate-connection refuses the connection. */
    event: 'post-connection-creation' | 'pre-connection-deletion' | 'validate-connection';
    metadata?: TMetadata;
    checkpoint?: TCheckpoint;
    exec: (nango: NangoAction<TMetadata, TCheckpoint>) => MaybePromise<void>;
}

export interface CreateSyncResponse<
    TModels extends Record<string, ZodModel>,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
> extends CreateSyncProps<TModels, TMetadata, TCheckpoint> {
    type: 'sync';
}
export interface CreateActionResponse<
    TInput extends z.ZodType,
    TOutput extends z.ZodType,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
> extends CreateActionProps<TInput, TOutput, TMetadata, TCheckpoint> {
    type: 'action';
}
export interface CreateOnEventResponse<TMetadata extends ZodMetadata = undefined, TCheckpoint extends ZodCheckpoint = undefined>
    extends CreateOnEventProps<TMetadata, TCheckpoint> {
    type: 'onEvent';
}
export type CreateAnyResponse =
    | CreateSyncResponse<any, ZodMetadata, ZodCheckpoint>
    | CreateActionResponse<any, any, ZodMetadata, ZodCheckpoint>
    | CreateOnEventResponse<ZodMetadata, ZodCheckpoint>;

/** Default-export its result from <integration>/syncs/<name>.ts. */
export declare function createSync<
    TModels extends Record<string, ZodModel>,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
>(params: CreateSyncProps<TModels, TMetadata, TCheckpoint>): CreateSyncResponse<TModels, TMetadata, TCheckpoint>;

/** Default-export its result from <integration>/actions/<name>.ts. */
export declare function createAction<
    TInput extends z.ZodType,
    TOutput extends z.ZodType,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
>(params: CreateActionProps<TInput, TOutput, TMetadata, TCheckpoint>): CreateActionResponse<TInput, TOutput, TMetadata, TCheckpoint>;

/** Default-export its result from <integration>/on-events/<name>.ts. */
export declare function createOnEvent<TMetadata extends ZodMetadata = undefined, TCheckpoint extends ZodCheckpoint = undefined>(
    params: CreateOnEventProps<TMetadata, TCheckpoint>
): CreateOnEventResponse<TMetadata, TCheckpoint>;

/** An error whose payload reaches the caller of an action as it is. */
export interface ActionError<T = Record<string, unknown>> extends Error {
    type: 'action_script_runtime_error';
    payload?: T;
}

export type HTTPMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'get' | 'post' | 'put' | 'patch' | 'delete';

/** A request to the third party, sent with the credentials of the connection. */
export interface ProxyConfiguration {
    /** The path below the provider's base URL. */
    endpoint: string;
    /** Default: GET. */
    method?: HTTPMethod;
    /** Each parameter is set on the URL; lists are joined by commas. A text is a whole query string. */
    params?: string | Record<string, string | number | string[] | number[] | undefined>;
    /** The body of POST, PUT, PATCH and DELETE. Objects are sent as JSON unless the headers say otherwise. */
    data?: unknown;
    headers?: Record<string, string>;
    /** How often to try again after 429, 401, 5xx and broken connections. Default: 0. */
    retries?: number;
    /** More statuses after which to try again. */
    retryOn?: number[] | null;
    retryHeader?: { at?: string; after?: string };
    /** Instead of the provider's base URL. */
    baseUrlOverride?: string;
    /** 'arraybuffer' gives a Buffer; without it a body that is JSON is parsed. */
    responseType?: 'arraybuffer' | 'blob' | 'document' | 'json' | 'text' | 'stream';
    decompress?: boolean | string;
    /** Sends the headers again where a redirect leads. */
    forwardHeadersOnRedirect?: boolean;
    /** Another connection, whose credentials are used. */
    providerConfigKey?: string;
    connectionId?: string;
    /** How `paginate` goes on; what is left out comes from the provider. */
    paginate?: Partial<CursorPagination> | Partial<LinkPagination> | Partial<OffsetPagination>;
}

interface Pagination {
    limit?: number | string;
    limit_name_in_request?: string;
    /** Where the list is in the answer, with dots; empty: the answer is the list. */
    response_path?: string;
    /** Sends the parameters in the body. Default: for POST, PUT and PATCH. */
    in_body?: boolean;
    on_page?: (page: { nextPageParam?: string | number | undefined; response: AxiosResponse }) => Promise<void>;
}
export interface CursorPagination extends Pagination {
    type: 'cursor';
    cursor_path_in_response: string;
    cursor_name_in_request: string;
}
export interface LinkPagination extends Pagination {
    type: 'link';
    link_rel_in_response_header?: string;
    link_path_in_response_body?: string;
}
export interface OffsetPagination extends Pagination {
    type: 'offset';
    offset_name_in_request: string;
    offset_start_value?: number;
    offset_calculation_method?: 'per-page' | 'by-response-size';
}

/** An answer of the third party. Names of headers are in lower case. */
export interface AxiosResponse<T = any> {
    data: T;
    status: number;
    statusText: string;
    headers: Record<string, any>;
    config: any;
    request?: any;
}

/** What a request throws when the last answer is not 2xx, or when there is none. */
export interface AxiosError<T = any> extends Error {
    isAxiosError: true;
    code?: string;
    status?: number;
    response?: AxiosResponse<T>;
    config?: any;
}

/** The answer to uncontrolledFetch. */
export interface FetchResponse {
    readonly ok: boolean;
    readonly status: number;
    readonly statusText: string;
    readonly url: string;
    readonly redirected: boolean;
    readonly headers: { get(name: string): string | null; has(name: string): boolean };
    text(): Promise<string>;
    json(): Promise<any>;
    arrayBuffer(): Promise<ArrayBuffer>;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'verbose' | 'silly' | 'http';

export interface Connection<TMetadata = Record<string, any> | null> {
    id: number;
    connection_id: string;
    provider_config_key: string;
    provider: string;
    metadata: TMetadata;
    connection_config: Record<string, any>;
    tags: Record<string, string>;
    credentials: Record<string, any>;
    end_user: Record<string, any> | null;
    errors: { type: string; log_id: string }[];
    created_at: string;
    updated_at: string;
    last_fetched_at: string;
}

export interface Integration {
    unique_key: string;
    provider: string;
    display_name: string;
    logo: string;
    created_at: string;
    updated_at: string;
    webhook_url?: string | null;
    credentials?: Record<string, any> | null;
}

/** A sync by its name, or a variant of it. */
export type SyncName = string | { name: string; variant: string };

/** What every function gets. Actions and on-event functions get just this. */
export interface NangoAction<TMetadata extends ZodMetadata = undefined, TCheckpoint extends ZodCheckpoint = undefined> {
    readonly connectionId: string;
    readonly providerConfigKey: string;
    readonly provider: string;
    readonly environmentId: number;
    readonly environmentName: string;
    readonly accountId: number;
    /** The id of the operation in the logs. */
    readonly activityLogId: string;
    readonly nangoConnectionId: number;
    readonly scriptType: 'sync' | 'action' | 'webhook' | 'on-event';
    readonly isCLI: boolean;
    /** throw new nango.ActionError({ … }) ends the function; its caller gets the object. */
    readonly ActionError: new <T = Record<string, unknown>>(payload?: T) => ActionError<T>;

    proxy<T = any>(config: ProxyConfiguration): Promise<AxiosResponse<T>>;
    get<T = any>(config: Omit<ProxyConfiguration, 'method'>): Promise<AxiosResponse<T>>;
    post<T = any>(config: Omit<ProxyConfiguration, 'method'>): Promise<AxiosResponse<T>>;
    put<T = any>(config: Omit<ProxyConfiguration, 'method'>): Promise<AxiosResponse<T>>;
    patch<T = any>(config: Omit<ProxyConfiguration, 'method'>): Promise<AxiosResponse<T>>;
    delete<T = any>(config: Omit<ProxyConfiguration, 'method'>): Promise<AxiosResponse<T>>;
    /** Asks for one page after the other, as the provider or config.paginate say. */
    paginate<T = any>(config: ProxyConfiguration): AsyncGenerator<T[], undefined, void>;
    /** A request to any public address: no credentials, no retries, no log. */
    uncontrolledFetch(options: {
        /** A URL object. */
        url: { readonly href: string };
        method?: string;
        headers?: Record<string, string>;
        body?: string | null;
    }): Promise<FetchResponse>;

    /** Kept for 60 seconds unless an option is given. */
    getConnection(
        providerConfigKey?: string,
        connectionId?: string,
        options?: { forceRefresh?: boolean; refreshToken?: boolean; refreshGithubAppJwtToken?: boolean }
    ): Promise<Connection<Inferred<TMetadata>>>;
    /** The access token (OAuth 2), the pair of tokens (OAuth 1), or else the credentials. */
    getToken(): Promise<string | { oAuthToken: string; oAuthTokenSecret: string } | Record<string, any>>;
    getIntegration(options?: { include?: ('webhook' | 'credentials')[] }): Promise<Integration>;
    getWebhookURL(): Promise<string | null | undefined>;
    getMetadata<T = Inferred<TMetadata>>(): Promise<T>;
    /** Replaces the metadata. */
    setMetadata(metadata: Inferred<TMetadata>): Promise<AxiosResponse>;
    /** Changes only the members that are given. */
    updateMetadata(metadata: Partial<Inferred<TMetadata>>): Promise<AxiosResponse>;
    /** @deprecated */
    getFieldMapping(): Promise<Record<string, string>>;
    /** @deprecated */
    setFieldMapping(mapping: Record<string, string>): Promise<AxiosResponse>;
    getEnvironmentVariables(): Promise<{ name: string; value: string }[] | null>;
    /** Throws outside of syncs. */
    getFlowAttributes<T = Record<string, any>>(): T | null;
    getVariant(): string;

    /** Writes to the operation's log. What is less than NANGO_LOGGER_LEVEL of the environment is dropped; default: warn. */
    log(message: any, payload?: any, options?: { level?: LogLevel }): Promise<void>;
    log(message: any, options: { level?: LogLevel }): Promise<void>;

    /** What is less important is dropped for the rest of the run. */
    setLogger(logger: { level: LogLevel | 'off' }): void;

    /** null when there is none. */
    getCheckpoint(): Promise<Inferred<TCheckpoint> | null>;
    /** Stores where the function has got to. It may be stopped here and started again later. */
    saveCheckpoint(checkpoint: Inferred<TCheckpoint>): Promise<void>;
    clearCheckpoint(): Promise<void>;

    /** False when somebody else holds the lock. It ends with the run, or after ttlMs. */
    tryAcquireLock(options: { key: string; ttlMs: number }): Promise<boolean>;
    releaseLock(options: { key: string }): Promise<boolean>;
    releaseAllLocks(): Promise<void>;

    triggerAction<In = unknown, Out = object>(providerConfigKey: string, connectionId: string, actionName: string, input?: In): Promise<Out>;
    triggerSync(
        providerConfigKey: string,
        connectionId: string,
        sync: SyncName,
        options?: { reset?: boolean; emptyCache?: boolean } | 'incremental' | 'full_refresh' | 'full_refresh_and_clear_cache' | boolean
    ): Promise<void | string>;
    startSync(providerConfigKey: string, syncs: SyncName[], connectionId?: string): Promise<void>;

    /** Throws an ActionError and logs each issue when the input does not fit. */
    zodValidateInput<TSchema extends z.ZodType>(options: { zodSchema: TSchema; input: unknown }): Promise<{ success: true; data: z.infer<TSchema> }>;
}

/** What syncs and their onWebhook get: everything above, and the records. */
export interface NangoSync<
    TModels extends Record<string, ZodModel> = Record<string, ZodModel>,
    TMetadata extends ZodMetadata = undefined,
    TCheckpoint extends ZodCheckpoint = undefined
> extends NangoAction<TMetadata, TCheckpoint> {
    readonly syncId: string | undefined;
    readonly syncJobId: number | undefined;
    /** "base" unless a variant runs. */
    readonly variant: string;
    /** When the last successful run began. @deprecated Use checkpoints. */
    readonly lastSyncDate?: Date;
    readonly track_deletes: boolean;
    readonly emptyCache: boolean;

    /** Creates or replaces records by their id. */
    batchSave<TName extends keyof TModels & string>(records: z.infer<TModels[TName]>[], model: TName): Promise<boolean>;
    /** @deprecated The same as batchSave. */
    batchSend<TName extends keyof TModels & string>(records: z.infer<TModels[TName]>[], model: TName): Promise<boolean | null>;
    /** Merges into records that exist. */
    batchUpdate<TName extends keyof TModels & string>(
        records: (Partial<z.infer<TModels[TName]>> & { id: string })[],
        model: TName
    ): Promise<boolean>;
    /** Marks records as deleted. The object given becomes their last payload. */
    batchDelete<TName extends keyof TModels & string>(
        records: (Partial<z.infer<TModels[TName]>> & { id: string })[],
        model: TName
    ): Promise<boolean>;
    /** Records by id; those that do not exist are not in the map. */
    getRecordsByIds<TId = string | number, TName extends keyof TModels & string = keyof TModels & string>(
        ids: TId[],
        model: TName
    ): Promise<Map<TId, z.infer<TModels[TName]>>>;
    listRecords<TName extends keyof TModels & string>(
        model: TName,
        options?: { cursor?: string }
    ): AsyncGenerator<z.infer<TModels[TName]>, void, void>;

    /** From here on every record of the model that is saved counts as still there. */
    trackDeletesStart(model: keyof TModels & string): Promise<void>;
    /** Deletes what was not saved since trackDeletesStart. */
    trackDeletesEnd(model: keyof TModels & string): Promise<{ deletedKeys: string[] }>;
    /** @deprecated Use trackDeletesStart and trackDeletesEnd. */
    deleteRecordsFromPreviousExecutions(model: keyof TModels & string): Promise<{ deletedKeys: string[] }>;
    /** Call it before the first batch of the model. */
    setMergingStrategy(merging: { strategy: 'override' | 'ignore_if_modified_after' }, model: keyof TModels & string): Promise<void>;
}
