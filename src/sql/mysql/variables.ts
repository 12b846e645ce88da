// Which system variables may be read on a replica, and which bind a session to its server connection when they are set.
// It knows names only.

const words = (text: string) => text.trim().split(/\s+/);

/** They tell of the last statement of this connection. */
const last = new Set(words('identity last_insert_id warning_count error_count'));

/**
 * Alike on every node for a session whose state is tracked, or a fixed word about the product: drivers and tools read
 * them when they connect. Everything else is asked of the primary.
 */
const anywhere = new Set(
  words(`
    autocommit big_tables character_set_client character_set_connection character_set_database character_set_filesystem
    character_set_results character_set_server character_set_system collation_connection collation_database
    collation_server completion_type default_week_format div_precision_increment explicit_defaults_for_timestamp
    foreign_key_checks ft_boolean_syntax group_concat_max_len have_ssl have_query_cache have_profiling init_connect
    innodb_lock_wait_timeout innodb_strict_mode interactive_timeout join_buffer_size lc_messages lc_time_names license
    lock_wait_timeout low_priority_updates lower_case_file_system lower_case_table_names max_allowed_packet
    max_error_count max_execution_time max_heap_table_size max_join_size max_length_for_sort_data max_sort_length
    max_sp_recursion_depth max_statement_time net_buffer_length net_read_timeout net_retry_count net_write_timeout
    new old old_alter_table optimizer_prune_level optimizer_search_depth optimizer_switch performance_schema
    protocol_version query_cache_size query_cache_type read_buffer_size read_rnd_buffer_size session_track_gtids
    session_track_schema session_track_state_change session_track_system_variables session_track_transaction_info
    sort_buffer_size sql_auto_is_null sql_big_selects sql_buffer_result sql_mode sql_notes sql_quote_show_create
    sql_require_primary_key sql_safe_updates sql_select_limit sql_warnings standard_compliant_cte
    storage_engine default_storage_engine default_tmp_storage_engine system_time_zone system_versioning_asof time_zone
    tmp_table_size transaction_isolation transaction_read_only tx_isolation tx_read_only unique_checks
    updatable_views_with_limit version version_comment version_compile_machine version_compile_os wait_timeout
    windowing_use_high_precision default_collation_for_utf8mb4 version_ssl_library`),
);

export function variableRoute(name: string): 'last' | 'replica' | 'primary' {
  if (last.has(name)) return 'last';
  return anywhere.has(name) ? 'replica' : 'primary';
}

/** Of the last write of this connection, or of how the next ones count: no other server than the primary is ever meant. */
export function tellsOfWrites(name: string): boolean {
  return name === 'last_gtid' || name === 'auto_increment_increment' || name === 'auto_increment_offset';
}

/** They change what is written to the binary log, or stand for what the last statement left: never replayed. */
const replication = new Set(
  words(`
    sql_log_bin gtid_next timestamp insert_id last_insert_id identity gtid_seq_no gtid_domain_id server_id
    skip_replication skip_parallel_replication binlog_format binlog_row_image binlog_rows_query_log_events
    binlog_direct_non_transactional_updates binlog_row_value_options binlog_transaction_compression
    original_commit_timestamp original_server_version immediate_server_version gtid_purged
    sql_slave_skip_counter default_master_connection wsrep_on wsrep_trx_fragment_size wsrep_trx_fragment_unit`),
);

export function bindsReplication(name: string): boolean {
  return replication.has(name) || name.startsWith('rand_seed') || name.startsWith('pseudo_');
}

/** They collect or expose something that is only in that connection; or follow its database until they are set. */
const ownToConnection = new Set(
  words('profiling profiling_history_size debug debug_sync character_set_database collation_database'),
);

export function bindsConnection(name: string): boolean {
  return ownToConnection.has(name);
}

/** Characteristics that SET @@name gives to the next transaction, and SET name to the session (manual, SET TRANSACTION). */
export function transactionVariable(name: string): 'isolation' | 'readOnly' | null {
  if (name === 'transaction_isolation' || name === 'tx_isolation') return 'isolation';
  return name === 'transaction_read_only' || name === 'tx_read_only' ? 'readOnly' : null;
}

/** Tables there tell of one server. */
export const nodeSchemas: ReadonlySet<string> = new Set(['performance_schema', 'sys']);

/** Of information_schema; the INNODB_ family besides. */
const nodeTables = new Set(
  words(`
    processlist global_status session_status global_variables session_variables system_variables profiling
    optimizer_trace client_statistics index_statistics table_statistics user_statistics query_cache_info
    query_response_time metadata_lock_info locales plugins engines all_plugins files tp_thread_pools
    tp_thread_group_state tp_thread_group_stats tp_thread_state thread_pool_groups thread_pool_queues
    thread_pool_stats thread_pool_waits wsrep_membership wsrep_status spider_alloc_mem feedback disks
    temp_tables_info optimizer_costs mysql_firewall_users mysql_firewall_whitelist connection_control_failed_login_attempts`),
);

/** Of mysql, those that each server writes by itself: logs, statistics, where it is in replication, what is loaded there. */
const ownTables = new Set(
  words(`
    general_log slow_log gtid_executed gtid_slave_pos slave_master_info slave_relay_log_info slave_worker_info
    ndb_binlog_index plugin component table_stats column_stats index_stats`),
);

export function tellsOfOneServer(schema: string, table: string): boolean {
  if (schema === 'information_schema') return nodeTables.has(table) || table.startsWith('innodb_');
  if (schema !== 'mysql') return false;
  return ownTables.has(table) || table.startsWith('innodb_') || table.startsWith('replication_');
}

const systemSchemas = new Set([...nodeSchemas, 'information_schema', 'mysql']);

/** Whoever is in this database, of whose tables some or all tell of one server, need not say whose they are. */
export function hidesNodeTables(database: string): boolean {
  return systemSchemas.has(database.toLowerCase());
}
